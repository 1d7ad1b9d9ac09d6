"""What the chapter on the Fisher information of wide networks stores."""
