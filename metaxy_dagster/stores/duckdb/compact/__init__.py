"""What nobody needs any more is removed."""
