"""Taking a cluster over from terway-controlplane, living beside it, and giving it back."""
