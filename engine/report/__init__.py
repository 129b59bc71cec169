"""The page about a run or an ablation, and what is kept for it."""
