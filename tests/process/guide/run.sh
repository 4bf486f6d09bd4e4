# It runs, on the database that DATABASE_URL names.
sluice migrate pipeline.yaml
sluice run pipeline.yaml &
sluice emit pipeline.yaml visitor.came --data '{"name": "Ada"}'
sluice tap pipeline.yaml 'visitor.*' --count 2
