"""What score is reached in how many minutes: nnU-Net, plain scripts with MONAI and smp, and `init`, on equal terms."""
