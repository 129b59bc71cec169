"""Arms, folds and seeds: trained, compared, reported."""
