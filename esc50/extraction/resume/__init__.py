"""What an extraction finds in its folder, and what is left to do there."""
