// Transaction-layer packets: see tlp.py, whose names are used here.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

enum class Kind { memory_read, memory_write, config_read, config_write, completion, message, other };

struct Tlp {
    uint32_t header[4] = {};
    std::vector<uint8_t> payload;

    Kind kind() const {
        uint32_t type = header[0] >> 24 & 0xff;
        switch (type) {
        case 0x00: case 0x20: return Kind::memory_read;
        case 0x40: case 0x60: return Kind::memory_write;
        case 0x04: return Kind::config_read;
        case 0x44: return Kind::config_write;
        case 0x0a: case 0x4a: return Kind::completion;
        }
        return (type & 0xb8) == 0x30 && (type & 7) <= 5 ? Kind::message : Kind::other;
    }
    uint32_t field(int word, int low, int width) const { return header[word] >> low & ((1u << width) - 1); }
    int length() const { return 4 * (field(0, 0, 10) ? field(0, 0, 10) : 1024); }
    uint32_t at() const { return field(0, 10, 2); }
    uint32_t attributes() const { return field(0, 12, 2); }
    bool poisoned() const { return field(0, 14, 1); }
    bool digest() const { return field(0, 15, 1); }
    bool four_dw() const { return field(0, 29, 1); }
    bool with_data() const { return field(0, 30, 1); }
    uint32_t first_be() const { return field(1, 0, 4); }
    uint32_t last_be() const { return field(1, 4, 4); }
    // Of requests
    uint32_t tag() const { return field(1, 8, 8); }
    uint32_t requester() const { return header[1] >> 16; }
    uint32_t code() const { return field(1, 0, 8); }
    uint64_t address() const {
        return four_dw() ? uint64_t(header[2]) << 32 | (header[3] & ~3u) : header[2] & ~3u;
    }
    int link_bytes() const { return 8 + (four_dw() ? 16 : 12) + 4 * int((payload.size() + 3) / 4); }

    // Offsets of the first byte asked for, and behind the last one.
    void enabled(int &first, int &end) const {
        uint32_t last = last_be() ? last_be() : first_be();
        first = end = 0;
        if (!first_be()) return;
        first = __builtin_ctz(first_be());
        end = length() - 4 + 32 - __builtin_clz(last);
    }
};
