"""The programs that Pileus runs under itself where the machine does not run them already."""
