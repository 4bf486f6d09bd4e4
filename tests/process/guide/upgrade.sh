# A new version of the plugin, with another file in sql/, while the engine runs.
sluice migrate pipeline.yaml
sluice reload pipeline.yaml --plan
sluice reload pipeline.yaml
