"""The questions people ask of the book, answered over the public schema `audit`."""
