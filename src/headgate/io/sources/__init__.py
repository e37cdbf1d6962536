"""Where objects come from: files and folders, bare URLs; and the addresses of the hosts they name."""
