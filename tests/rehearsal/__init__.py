"""The rehearsal: miniature replicas of every repository a config names, so that the same run needs no hub."""
