"""Opens what runs: the databases of several services, and the event bus."""
