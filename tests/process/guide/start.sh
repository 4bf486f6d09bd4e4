# From nothing to a plugin that is tested.
sluice new-plugin shout
cd shout && make test
sluice test test/shout.yaml
