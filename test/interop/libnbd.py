"""Every command and flag of the protocol, errors included, through libnbd.

usage: libnbd.py CASE URI [read-only URI]     CASE is a function below without its `case_`.

The export is 64 MiB or more and nobody else uses it. Exit 0: what the case claims is so.
"""
import errno
import os
import random
import sys
import time

import nbd

KIB = 1024
MIB = 1024 * KIB
# Whether the file system below the server tells reserved space from holes.
TELLS_RESERVED = os.environ.get("TELLS_RESERVED") == "1"
LAX = 0  # strict mode: libnbd sends what it is told to, so that the server must refuse it.


def connect(uri, contexts=("base:allocation",), structured=True, strict=LAX, handshake=None):
    handle = nbd.NBD()
    handle.set_uri_allow_local_file(True)
    handle.set_full_info(True)
    handle.set_strict_mode(strict)
    for context in contexts:
        handle.add_meta_context(context)
    handle.set_request_structured_replies(structured)
    if handshake is not None:
        handle.set_handshake_flags(handshake)
    handle.connect_uri(uri)
    return handle


def negotiating(uri):
    """A handle that is still choosing its options."""
    handle = nbd.NBD()
    handle.set_uri_allow_local_file(True)
    handle.set_full_info(True)
    handle.set_opt_mode(True)
    handle.connect_uri(uri)
    return handle


def refused(expected, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except nbd.Error as error:
        assert error.errnum in expected, f"{call.__name__}{args[1:]}: {error}, wanted {expected}"
        return error
    raise AssertionError(f"{call.__name__}{args[1:]} {kwargs} was not refused")


def filled(length, seed):
    return random.Random(seed).randbytes(length)


def extents_of(handle, length, offset, flags=0):
    found = []

    def extent(context, start, entries, error):
        assert context == "base:allocation" and start == offset, (context, start)
        found.extend(zip(entries[0::2], entries[1::2]))

    handle.block_status(length, offset, extent, flags)
    assert len(found) >= 1
    assert all(size > 0 for size, _ in found)
    return found


def map_of(handle):
    """The extents of the whole export: a server may answer for less than was asked."""
    found, offset, size = [], 0, handle.get_size()
    while offset < size:
        for length, state in extents_of(handle, size - offset, offset):
            length = min(length, size - offset)
            if found and found[-1][1] == state:
                found[-1] = (found[-1][0] + length, state)
            else:
                found.append((length, state))
            offset += length
    return found


def state_at(handle, offset):
    return extents_of(handle, 1, offset, nbd.CMD_FLAG_REQ_ONE)[0][1]


def chunks_of(handle, length, offset, flags=0):
    chunks = []

    def chunk(data, start, kind, error):
        chunks.append((kind, start, len(data)))

    data = handle.pread_structured(length, offset, chunk, flags)
    return data, chunks


# Handshake


def case_handshake(uri):
    handle = negotiating(uri)
    name = handle.get_export_name()
    listed = []
    handle.opt_list(lambda export, description: listed.append(export))
    assert any(export == name or export.endswith("/" + name) for export in listed), listed

    for bad in ("no such export", "no/such", "../etc/passwd", "x" * 4096, "é", name + "/"):
        handle.set_export_name(bad)
        error = refused((errno.ENOENT, errno.EINVAL), handle.opt_info)
        assert error is not None
        refused((errno.ENOENT, errno.EINVAL), handle.opt_go)

    handle.set_export_name(name)
    handle.opt_info()
    size, canonical = handle.get_size(), handle.get_canonical_export_name()
    assert size >= 64 * MIB
    contexts = []
    handle.opt_list_meta_context(contexts.append)
    assert "base:allocation" in contexts, contexts
    handle.add_meta_context("base:allocation")
    handle.add_meta_context("x-unheard-of:thing")
    handle.opt_go()
    assert handle.get_size() == size and handle.get_canonical_export_name() == canonical
    assert handle.can_meta_context("base:allocation")
    assert not handle.can_meta_context("x-unheard-of:thing")
    assert handle.get_structured_replies_negotiated()
    assert handle.get_protocol() == "newstyle-fixed"
    handle.shutdown()

    handle = negotiating(uri)
    handle.opt_abort()


def case_facts(uri):
    handle = connect(uri)
    assert handle.can_flush() and handle.can_fua() and handle.can_trim() and handle.can_zero()
    assert handle.can_fast_zero() and handle.can_df() and handle.can_cache()
    assert handle.can_multi_conn()
    assert not handle.is_read_only()
    minimum = handle.get_block_size(nbd.SIZE_MINIMUM)
    preferred = handle.get_block_size(nbd.SIZE_PREFERRED)
    maximum = handle.get_block_size(nbd.SIZE_MAXIMUM)
    if (minimum, preferred, maximum) != (0, 0, 0):
        assert (minimum, preferred) == (1, 4096) and maximum >= 32 * MIB
    handle.shutdown()


def case_old_handshakes(uri):
    """EXPORT_NAME instead of GO, with and without the zeroes, and no structured replies."""
    for flags in (0, nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE, nbd.HANDSHAKE_FLAG_NO_ZEROES):
        if flags == 0 and uri.startswith("nbds"):
            continue  # TLS needs the fixed handshake
        if flags == nbd.HANDSHAKE_FLAG_NO_ZEROES and uri.startswith("nbds"):
            continue
        handle = connect(uri, contexts=(), structured=False, handshake=flags)
        handle.pwrite(b"old", 5)
        assert handle.pread(3, 5) == b"old"
        handle.shutdown()


# Commands


def case_read_write(uri):
    handle = connect(uri)
    size = handle.get_size()
    places = [
        (0, 1), (1, 511), (511, 2), (4095, 4098), (8191, 1), (100_000, 65_537),
        (size - 1, 1), (size - 5000, 5000), (3 * MIB + 7, MIB),
    ]
    for seed, (offset, length) in enumerate(places):
        for flags in (0, nbd.CMD_FLAG_FUA):
            data = filled(length, seed * 2 + flags)
            handle.pwrite(data, offset, flags)
            assert handle.pread(length, offset) == data, (offset, length)
    handle.flush()
    second = connect(uri)
    # The places that no other one overlaps.
    for seed in (5, 7, 8):
        offset, length = places[seed]
        assert second.pread(length, offset) == filled(length, seed * 2 + nbd.CMD_FLAG_FUA)
    handle.shutdown()
    second.shutdown()


def case_large(uri):
    """Up to 40 MiB in one request: more than is advertised must not end the connection."""
    handle = connect(uri)
    for length in (MIB, 32 * MIB, 40 * MIB):
        data = filled(length, length)
        handle.pwrite(data, 4096)
        assert handle.pread(length, 4096) == data
    handle.shutdown()


def case_zero_and_trim(uri):
    handle = connect(uri)
    data = filled(MIB, 5)
    zeroes = bytes(256 * KIB)
    for fua in (0, nbd.CMD_FLAG_FUA):
        handle.pwrite(data, 0)
        handle.zero(256 * KIB, 64 * KIB, fua)
        assert handle.pread(MIB, 0) == data[: 64 * KIB] + zeroes + data[320 * KIB :]
        assert state_at(handle, 64 * KIB) & nbd.STATE_ZERO

        handle.pwrite(data, 0)
        handle.zero(256 * KIB, 64 * KIB, fua | nbd.CMD_FLAG_NO_HOLE)
        assert handle.pread(256 * KIB, 64 * KIB) == zeroes
        # Zeroes that stay allocated: in the journal, while they are applied, and from then on.
        for _ in range(12):
            state = state_at(handle, 64 * KIB)
            assert state & nbd.STATE_ZERO, (_, state)
            assert not (TELLS_RESERVED and state & nbd.STATE_HOLE), (_, state)
            time.sleep(0.1)

        handle.pwrite(data, 0)
        handle.trim(256 * KIB, 64 * KIB, fua)
        # What is trimmed may read as anything; this server promises zeroes.
        assert handle.pread(MIB, 0) == data[: 64 * KIB] + zeroes + data[320 * KIB :]
        assert state_at(handle, 64 * KIB) == nbd.STATE_HOLE | nbd.STATE_ZERO

        # Not on any block border.
        handle.pwrite(data, 0)
        handle.zero(5000, 1234, fua)
        assert handle.pread(MIB, 0) == data[:1234] + bytes(5000) + data[6234:]
        handle.pwrite(data, 0)
        handle.trim(1, 77, fua)
        found = handle.pread(MIB, 0)
        assert found[:77] == data[:77] and found[78:] == data[78:]

        # Fast or not at all, and then with nothing changed.
        if not handle.can_fast_zero():
            continue
        handle.pwrite(data, 0)
        try:
            handle.zero(64 * KIB, 0, fua | nbd.CMD_FLAG_FAST_ZERO)
            assert handle.pread(64 * KIB, 0) == bytes(64 * KIB)
        except nbd.Error as error:
            assert error.errnum == errno.ENOTSUP, error
            assert handle.pread(64 * KIB, 0) == data[: 64 * KIB]
    handle.zero(handle.get_size(), 0)
    assert handle.pread(MIB, 0) == bytes(MIB)
    handle.trim(handle.get_size(), 0)
    handle.shutdown()


def case_structured_reads(uri):
    handle = connect(uri)
    handle.trim(MIB, 0)
    data = filled(64 * KIB, 9)
    handle.pwrite(data, 128 * KIB)
    expected = bytes(128 * KIB) + data + bytes(MIB - 192 * KIB)

    found, chunks = chunks_of(handle, MIB, 0)
    assert found == expected
    assert sorted(start for _, start, _ in chunks)[0] == 0
    assert any(kind == nbd.READ_HOLE for kind, _, _ in chunks), chunks
    assert sum(length for _, _, length in chunks) == MIB

    # Unfragmented: one chunk of data, holes written out.
    found, chunks = chunks_of(handle, 64 * KIB, 96 * KIB, nbd.CMD_FLAG_DF)
    assert found == expected[96 * KIB : 160 * KIB]
    assert chunks == [(nbd.READ_DATA, 96 * KIB, 64 * KIB)], chunks
    try:
        found, chunks = chunks_of(handle, MIB, 0, nbd.CMD_FLAG_DF)
        assert found == expected and len(chunks) == 1
    except nbd.Error as error:
        assert error.errnum == errno.EOVERFLOW, error
    handle.shutdown()


def case_block_status(uri):
    handle = connect(uri)
    size = handle.get_size()
    handle.trim(size, 0)
    assert map_of(handle) == [(size, nbd.STATE_HOLE | nbd.STATE_ZERO)]
    handle.pwrite(filled(64 * KIB, 1), 256 * KIB)
    handle.pwrite(filled(64 * KIB, 2), 320 * KIB)
    handle.zero(64 * KIB, 384 * KIB, nbd.CMD_FLAG_NO_HOLE)

    found = extents_of(handle, MIB, 0)
    assert found[0] == (256 * KIB, nbd.STATE_HOLE | nbd.STATE_ZERO), found
    assert found[1] == (128 * KIB, 0), f"two adjoining writes are one extent: {found}"
    assert found[2][1] in (0, nbd.STATE_ZERO), found
    assert all(a[1] != b[1] for a, b in zip(found, found[1:])), "neighbours differ"
    assert sum(length for length, _ in found[:-1]) < MIB
    assert sum(length for length, state in map_of(handle) if state == 0) in (128 * KIB, 192 * KIB)

    one = extents_of(handle, size - 256 * KIB, 256 * KIB, nbd.CMD_FLAG_REQ_ONE)
    assert len(one) == 1 and one[0][0] <= size - 256 * KIB and one[0][1] == 0
    one = extents_of(handle, 4096, 256 * KIB, nbd.CMD_FLAG_REQ_ONE)
    assert one == [(4096, 0)], one
    assert extents_of(handle, 1, size - 1)[0][1] == nbd.STATE_HOLE | nbd.STATE_ZERO
    handle.flush()
    assert extents_of(handle, 128 * KIB, 256 * KIB)[0][1] == 0
    handle.shutdown()

    without = connect(uri, contexts=())
    assert not without.can_meta_context("base:allocation")
    refused((errno.EINVAL, errno.ENOTSUP), without.block_status, 4096, 0, lambda *_: 0)
    without.shutdown()


def case_cache_and_flush(uri):
    handle = connect(uri)
    handle.pwrite(filled(MIB, 3), 0)
    handle.cache(MIB, 0)
    handle.cache(1, handle.get_size() - 1)
    handle.flush()
    assert handle.pread(MIB, 0) == filled(MIB, 3)
    handle.shutdown()


# Errors


def case_errors(uri):
    handle = connect(uri)
    size = handle.get_size()
    data = filled(64 * KIB, 11)
    handle.pwrite(data, size - 64 * KIB)
    handle.pwrite(data, 0)
    invalid, no_space = (errno.EINVAL,), (errno.ENOSPC,)
    nothing = lambda *_: 0

    for offset, length in ((size, 1), (size - 1, 2), (size + 4096, 4096), (2**63 - 1, 4096)):
        refused(invalid, handle.pread, length, offset)
        refused(no_space, handle.pwrite, bytes(length), offset)
        refused(no_space, handle.zero, length, offset)
        refused(invalid, handle.trim, length, offset)
        refused(invalid, handle.cache, length, offset)
        refused(invalid, handle.block_status, length, offset, nothing)

    for flag in (nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_REQ_ONE, nbd.CMD_FLAG_FAST_ZERO, 1 << 9):
        refused(invalid, handle.pread, 4096, 0, flag)
        refused(invalid, handle.flush, flag)
        refused(invalid, handle.trim, 4096, 0, flag)
        refused(invalid, handle.cache, 4096, 0, flag)
        refused(invalid, handle.pwrite, bytes(4096), 0, flag)
    refused(invalid, handle.pwrite, bytes(4096), 0, nbd.CMD_FLAG_DF)
    refused(invalid, handle.zero, 4096, 0, nbd.CMD_FLAG_DF)
    refused(invalid, handle.zero, 4096, 0, nbd.CMD_FLAG_REQ_ONE)
    refused(invalid, handle.block_status, 4096, 0, nothing, nbd.CMD_FLAG_NO_HOLE)
    # FUA is valid on every command.
    assert handle.pread(4096, 0, nbd.CMD_FLAG_FUA) == data[:4096]
    handle.flush(nbd.CMD_FLAG_FUA)
    handle.cache(4096, 0, nbd.CMD_FLAG_FUA)
    extents_of(handle, 4096, 0, nbd.CMD_FLAG_FUA)

    # No length is not specified, but it must not end the connection.
    for call in (
        lambda: handle.pread(0, 0),
        lambda: handle.pwrite(b"", 0),
        lambda: handle.trim(0, 0),
        lambda: handle.zero(0, 0),
        lambda: handle.cache(0, 0),
        lambda: handle.block_status(0, 0, nothing),
    ):
        try:
            call()
        except nbd.Error as error:
            assert error.errnum in (errno.EINVAL, errno.ENOSPC), error

    assert handle.pread(64 * KIB, 0) == data, "a refused command changed something"
    assert handle.pread(64 * KIB, size - 64 * KIB) == data
    handle.shutdown()


def case_simple_replies(uri):
    """A client without structured replies, as the Linux kernel is."""
    handle = connect(uri, contexts=(), structured=False)
    assert not handle.get_structured_replies_negotiated() and not handle.can_df()
    size = handle.get_size()
    data = filled(MIB, 21)
    handle.pwrite(data, 12345)
    assert handle.pread(MIB, 12345) == data
    handle.trim(MIB, 12345)
    assert handle.pread(MIB, 12345) == bytes(MIB)
    refused((errno.EINVAL,), handle.pread, 4096, size)
    refused((errno.ENOSPC,), handle.pwrite, bytes(4096), size)
    refused((errno.EINVAL,), handle.pread, 4096, 0, nbd.CMD_FLAG_DF)
    refused((errno.EINVAL, errno.ENOTSUP), handle.block_status, 4096, 0, lambda *_: 0)
    assert handle.pread(4096, 12345) == bytes(4096)
    handle.shutdown()


def case_read_only(uri):
    handle = connect(uri)
    assert handle.is_read_only() and handle.is_rotational()
    perm = (errno.EPERM,)
    before = handle.pread(64 * KIB, 0)
    refused(perm, handle.pwrite, filled(4096, 1), 0)
    refused(perm, handle.zero, 4096, 0)
    refused(perm, handle.trim, 4096, 0)
    handle.flush()
    assert handle.pread(64 * KIB, 0) == before
    extents_of(handle, 4096, 0)
    handle.shutdown()


def case_journal_only(uri):
    """A volume that journals what is written and stores nothing."""
    handle = connect(uri)
    assert handle.get_size() >= 64 * MIB
    for flags in (0, nbd.CMD_FLAG_FUA):
        handle.pwrite(filled(MIB, 1), 0, flags)
        handle.zero(MIB, MIB, flags)
        handle.trim(MIB, 2 * MIB, flags)
        handle.flush()
        refused((errno.EIO, errno.EINVAL, errno.EPERM, errno.ENOTSUP), handle.pread, 4096, 0)
    handle.pwrite(filled(4096, 2), 0)
    handle.shutdown()


# Several at once


def case_connections(uri):
    """Four connections: what one answered the others read; a flush on one covers all."""
    handles = [connect(uri) for _ in range(4)]
    for turn in range(40):
        writer, flusher, reader = (handles[(turn + i) % 4] for i in range(3))
        data = filled(10_000, turn)
        writer.pwrite(data, turn * 10_000)
        flusher.flush()
        assert reader.pread(10_000, turn * 10_000) == data
    for handle in handles:
        handle.shutdown()


def case_pipelined(uri):
    """64 commands in flight on disjoint ranges, in whatever order they come back."""
    handle = connect(uri)
    rng = random.Random(64)
    length, slots = 6000, 400
    expected = {}
    for step in range(3):
        pending = []
        for slot in range(slots):
            offset = slot * length
            data = rng.randbytes(length)
            if rng.random() < 0.1:
                cookie = handle.aio_zero(length, offset, flags=nbd.CMD_FLAG_FUA)
                data = bytes(length)
            else:
                flags = nbd.CMD_FLAG_FUA if rng.random() < 0.1 else 0
                buffer = nbd.Buffer.from_bytearray(bytearray(data))
                cookie = handle.aio_pwrite(buffer, offset, flags=flags)
            expected[slot] = data
            pending.append(cookie)
            if rng.random() < 0.05:
                pending.append(handle.aio_flush())
            while handle.aio_in_flight() >= 64:
                handle.poll(-1)
        while handle.aio_in_flight() > 0:
            handle.poll(-1)
        for cookie in pending:
            assert handle.aio_command_completed(cookie)
    reads = []
    for slot in range(slots):
        buffer = nbd.Buffer(length)
        reads.append((slot, buffer, handle.aio_pread(buffer, slot * length)))
    while handle.aio_in_flight() > 0:
        handle.poll(-1)
    for slot, buffer, cookie in reads:
        assert handle.aio_command_completed(cookie)
        assert bytes(buffer.to_bytearray()) == expected[slot], slot
    handle.shutdown()


def case_model(uri):
    """A thousand random commands of all kinds over two connections against a model in memory."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    space = 4 * MIB
    handles = [connect(uri), connect(uri, contexts=(), structured=False)]
    handles[0].zero(space, 0)
    model = bytearray(space)
    for step in range(1000):
        handle = rng.choice(handles)
        length = min(space, int(2 ** rng.uniform(0, 19)))
        if rng.random() < 0.5:
            length = max(512, length & ~511)
        offset = rng.randrange(space - length + 1)
        if rng.random() < 0.5:
            offset &= ~511
        flags = nbd.CMD_FLAG_FUA if rng.random() < 0.2 else 0
        kind = rng.choice(("write", "write", "read", "read", "zero", "trim", "status", "flush"))
        if kind == "write":
            data = rng.randbytes(length)
            handle.pwrite(data, offset, flags)
            model[offset : offset + length] = data
        elif kind == "read":
            found = handle.pread(length, offset)
            assert found == model[offset : offset + length], (seed, step, offset, length)
        elif kind == "zero":
            handle.zero(length, offset, flags | rng.choice((0, nbd.CMD_FLAG_NO_HOLE)))
            model[offset : offset + length] = bytes(length)
        elif kind == "trim":
            handle.trim(length, offset, flags)
            model[offset : offset + length] = bytes(length)
        elif kind == "status":
            start = offset
            for size, state in extents_of(handles[0], length, offset):
                end = min(start + size, offset + length)
                if state & nbd.STATE_ZERO:
                    assert not any(model[start:end]), (seed, step, start, end)
                start = end
        else:
            handle.flush()
    assert handles[0].pread(space, 0) == model, seed
    for handle in handles:
        handle.shutdown()


def case_denied(uri):
    """The connection is not to come about."""
    try:
        connect(uri).pread(1, 0)
    except nbd.Error as error:
        print(error)
        return
    raise AssertionError("the server let us in")


if __name__ == "__main__":
    globals()["case_" + sys.argv[1]](*sys.argv[2:])
