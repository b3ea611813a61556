"""What every test may use: the local stack's fixtures."""

pytest_plugins = ["deploy.local.pytest_plugin"]
