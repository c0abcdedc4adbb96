"""The background process of `pileus up --detach`: on its input the configuration as JSON, which may hold passwords."""

import sys

import msgspec

from pileus.cli.lifecycle import serve
from pileus.config import Config, typed

if __name__ == "__main__":
    sys.exit(serve(msgspec.json.decode(sys.stdin.buffer.read(), type=Config, dec_hook=typed)))
