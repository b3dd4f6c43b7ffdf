"""What every part uses: errors, files, seeds, devices, signals and progress."""
