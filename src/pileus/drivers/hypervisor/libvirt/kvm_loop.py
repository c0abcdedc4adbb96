"""The child of the KVM probe: runs millions of turns of a loop in a guest of its own and times them.

It is started as a file, outside the package: it imports the standard library only.
"""

import ctypes
import fcntl
import mmap
import os
import struct
import time

TURNS = 5_000_000
API_VERSION = 12
MEMORY = 1 << 20
CODE, TABLES = 0x1000, 0x2000
PORT = 0xF4

KVM_GET_API_VERSION = 0xAE00
KVM_CREATE_VM = 0xAE01
KVM_GET_VCPU_MMAP_SIZE = 0xAE04
KVM_CREATE_VCPU = 0xAE41
KVM_SET_TSS_ADDR = 0xAE47
KVM_RUN = 0xAE80
KVM_SET_USER_MEMORY_REGION = 0x4020AE46
KVM_SET_REGS = 0x4090AE82
KVM_GET_SREGS = 0x8138AE83
KVM_SET_SREGS = 0x4138AE84
KVM_EXIT_IO, KVM_EXIT_IO_OUT = 2, 1

SEGMENT = struct.Struct("=QIHBBBBBBBBBB")
"""base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable, padding"""
CONTROL_OFFSET = 24 * 8 + 2 * 16
"""Eight segments and two descriptor tables stand before the control registers."""


def main() -> None:
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    version = fcntl.ioctl(kvm, KVM_GET_API_VERSION, 0)
    if version != API_VERSION:
        raise SystemExit(f"KVM API version {version} instead of {API_VERSION}")
    vm = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    # Intel needs three pages for itself; elsewhere the call changes nothing.
    ctypes.CDLL(None).ioctl(vm, KVM_SET_TSS_ADDR, ctypes.c_ulong(0xFFFBD000))
    memory = mmap.mmap(-1, MEMORY)
    load(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, KVM_SET_USER_MEMORY_REGION, struct.pack("=IIQQQ", 0, 0, 0, MEMORY, address))
    vcpu = fcntl.ioctl(vm, KVM_CREATE_VCPU, 0)
    shared = mmap.mmap(vcpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0))
    enter_long_mode(vcpu)
    print("ready", flush=True)
    began = time.monotonic()
    fcntl.ioctl(vcpu, KVM_RUN, 0)
    took = time.monotonic() - began
    (reason,) = struct.unpack_from("=I", shared, 8)
    (port,) = struct.unpack_from("=H", shared, 34)
    if (reason, shared[32], port) != (KVM_EXIT_IO, KVM_EXIT_IO_OUT, PORT):
        raise SystemExit(f"the guest stopped with exit reason {reason} before the end of its loop")
    print(f"{took:.6f}", flush=True)


def load(memory: mmap.mmap) -> None:
    """The loop, and page tables that map the first 2 MiB to itself."""
    loop = bytes.fromhex("48ffc975fb")  # 1: dec rcx; jnz 1b
    leave = bytes([0xE6, PORT])  # out PORT, al
    code = b"\x48\xc7\xc1" + struct.pack("<i", TURNS) + loop + leave  # mov rcx, TURNS
    memory[CODE : CODE + len(code)] = code
    present_and_writable, large = 0x3, 0x80
    for table, entry in enumerate((TABLES + 0x1000, TABLES + 0x2000, large)):
        struct.pack_into("=Q", memory, TABLES + 0x1000 * table, entry | present_and_writable)


def enter_long_mode(vcpu: int) -> None:
    system = bytearray(312)
    fcntl.ioctl(vcpu, KVM_GET_SREGS, system)
    SEGMENT.pack_into(system, 0, 0, 0xFFFFFFFF, 8, 11, 1, 0, 0, 1, 1, 1, 0, 0, 0)
    for segment in range(1, 6):
        SEGMENT.pack_into(system, 24 * segment, 0, 0xFFFFFFFF, 16, 3, 1, 0, 1, 1, 0, 1, 0, 0, 0)
    cr0, cr4, efer = 0x80050033, 0x20, 0x500
    struct.pack_into("=6Q", system, CONTROL_OFFSET, cr0, 0, TABLES, cr4, 0, efer)
    fcntl.ioctl(vcpu, KVM_SET_SREGS, bytes(system))
    stack, entry, flags = 0x8000, CODE, 2
    registers = struct.pack("=18Q", *[0] * 6, stack, *[0] * 9, entry, flags)
    fcntl.ioctl(vcpu, KVM_SET_REGS, registers)


if __name__ == "__main__":
    main()
