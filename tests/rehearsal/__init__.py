"""The rehearsal: miniature replicas of all repositories of a config, so that the same run needs no hub."""
