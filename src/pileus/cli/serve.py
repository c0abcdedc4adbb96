"""The background process of `pileus up --detach`: one argument, the configuration as JSON."""

import sys

import msgspec

from pileus.cli.lifecycle import serve
from pileus.config import Config, typed

if __name__ == "__main__":
    sys.exit(serve(msgspec.json.decode(sys.argv[1], type=Config, dec_hook=typed)))
