"""What every face over HTTP shares: who asks, what is read of a request, and how errors are told."""
