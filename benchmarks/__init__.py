"""The speed study, under equal conditions: `run_speed` measures, `write_speed_page` renders."""
