// Host memory as the device sees it: the bytes and the counts of grants of model/memory.py themselves.
#pragma once

#include <cstdint>
#include <cstring>

#include "failure.h"

struct Arena {
    uint64_t base, end;
    uint8_t *bytes;
    const uint8_t *readable, *writable;     // per byte, how many grants there are
    const uint8_t *watched;                 // per page, whether somebody wants to hear of writes
};

struct Memory {
    Arena high, low;

    void read(uint64_t address, uint8_t *to, int length) const {
        const Arena &arena = of(address);
        uint64_t start = address - arena.base;
        if (!arena_has(arena, address, length) || memchr(arena.readable + start, 0, length))
            throw Failure{Fault::read_ownership, "", address, length};
        memcpy(to, arena.bytes + start, length);
    }

    // Returns whether a page of it is watched.
    bool write(uint64_t address, const uint8_t *from, int length) const {
        const Arena &arena = of(address);
        uint64_t start = address - arena.base;
        if (!arena_has(arena, address, length) || memchr(arena.writable + start, 0, length))
            throw Failure{Fault::write_ownership, "", address, length};
        memcpy(arena.bytes + start, from, length);
        return length && (arena.watched[start >> 12] || arena.watched[(start + length - 1) >> 12]);
    }

private:
    const Arena &of(uint64_t address) const { return address >> 32 ? high : low; }
    static bool arena_has(const Arena &arena, uint64_t address, int length) {
        return address >= arena.base && address + length <= arena.end;
    }
};
