"""Arms, folds and seeds: trained, compared, told."""
