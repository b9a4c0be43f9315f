"""How fast things are, measured under equal conditions: `run_speed` measures, `write_speed_page` renders."""
