"""CloudStack's native API at /client/api, over the same resources as every other face.

How to add a command, in a module of this package (all modules are imported, so declaring is enough):

    class AttachVolume(Params):                       # Listing, OwnedListing, ProjectListing, TaggedListing, Placed
        volume: UUID = param("id", "the volume to attach")
        server: UUID = param("virtualmachineid", "the virtual machine to attach it to")
        device: int | None = param("deviceid", "its place there; chosen when left out", default=None)

    @view(Volume, "volume", "Volume")                 # once for each kind of record: key in a job, jobinstancetype
    async def shown(call: Call, look: Look, volumes: Sequence[Volume]) -> list[dict[str, Any]]:
        holders = await owners.shown(look, (volume.project for volume in volumes))
        return [{"id": volume.id, "name": volume.name, **holders.get(volume.project, {})} for volume in volumes]

    @command("attachVolume", params=AttachVolume)     # view= where the kind's own is not the right one
    async def attach(call: Call, params: AttachVolume) -> Accepted:
        \"\"\"Attaches a disk volume to a virtual machine.\"\"\"         (the description in listApis)
        return await volumes.attach(call.cloud, call.caller, params.volume, params.server, ...)

A field's Python name is the core's word; its wire name, in lower case, is CloudStack's. Types: str, int, bool, UUID,
datetime, tuple[str, ...] and tuple[UUID, ...] (comma lists), dict[str, str] (one map of indexed fields), Rows (the
indexed rows as they came); `| None` with default None tells what was not sent. What is wrong is refused before
the handler runs (430, 431). A parameter of the catalogue that the struct does not declare is refused with 431, unless
`command(ignored=...)` names it; the ledger entry is then `partial`.

A handler returns
    Accepted             of a command that is a job: {"jobid"}, with "id" where the catalogue says so (or `subject=`);
                         the job shows the subject through the kind's view. Otherwise the resource is shown at once.
    Done(record=...)     the core did it at once and the command is a job: a job is recorded as ended. When the
                         record is gone: Done(subject=id, kind="address").
    Listed(items, total) {"count", "<object>": [...]}; items are records, or dictionaries that are shown already
    Shown(fields)        {"<object>": fields}
    a record             {"<object>": view of it}
    a dictionary         the envelope's content, filtered by role
    Bare(body, headers)  the envelope's content as it is
    None                 {"success": true}
Views return Python values (UUID, datetime, bool, None, lists, dictionaries): rendering turns them into text and drops
what is None. Fields that the catalogue gives to some roles only are hidden from others; jobid and jobstatus of a
record's live operation are added.

Ownership: `owners.acting(call, params)` is the caller for what is made (Placed), `owners.scope(call, look, params)`
says where a list looks, `owners.listed(call, look, params, cls, ...)` reads the page there with its total,
`paging.window(params)` gives skip and limit. `call.caller` acts in the caller's account and reaches the
projects it is a member of. Raise errors of the core; NotFound of an id that was sent is worded as CloudStack does.
Pass `command=call.name` to operations of the core that take it.

Then: an entry in specs/cloudstack.toml, and `tools/extract-cloudstack <directory of the reference>` again.
"""

import importlib
import pkgutil

from pileus.faces.cloudstack.api import Errors, serve
from pileus.faces.wire import Kernel

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def mount(kernel: Kernel) -> None:
    """Serve the API and the uploads that it hands out."""
    from pileus.faces.cloudstack import explaining, uploads

    kernel.explainers["cloudstack"] = explaining.Commands()
    kernel.mount("/client/api", serve, errors=Errors())
    kernel.mount(uploads.PREFIX, uploads.receive)
