"""What is done to a float graph before it is quantized, so that less is lost: one file each."""
