"""A short-lived program run without blocking the loop; what it says on failure becomes the error."""

import asyncio

from pileus.drivers.errors import Refused, Unreachable


async def run(*command: str, input: str = "", seconds: float = 60.0) -> str:
    """Its output. Raises Refused with the program's own words, Unreachable when it takes too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if input else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise Refused(f"the program {command[0]} is not installed") from error
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate(input.encode() or None)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise Unreachable(f"`{' '.join(command)}` took longer than {seconds:g} s") from error
    if process.returncode:
        raise Refused(f"`{' '.join(command)}` failed: {errors.decode(errors='replace').strip()}")
    return output.decode()


__all__ = ["run"]
