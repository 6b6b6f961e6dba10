"""Parts of the program that distils the small bundled backbone from a larger teacher."""
