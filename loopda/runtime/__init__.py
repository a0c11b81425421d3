"""What every process needs: command line, files and locks, signals, progress and log, device, several processes."""
