"""The demo, and the services that it starts, which a test starts as well."""
