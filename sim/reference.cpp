// The speed of the RTL alone: what testbench/system/record.py has recorded at its ports is replayed from memory, and
// every beat that comes out is compared. Prints the CPU seconds of the window.
//
// The compiler is told, as macros, INPUTS(P): the inputs, P(name) each, and OUTPUTS(S, P): S(valid, ready, P(name)...)
// for each stream; in the order of the record.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

struct Port {
    void *data;
    size_t bytes;
};

struct Stream {
    CData *valid, *ready;
    std::vector<Port> ports;
};

struct Entry {
    uint32_t cycle;
    uint16_t number, words;

    const char *data() const { return (const char *)(this + 1); }
    const Entry *next() const { return (const Entry *)(data() + 4 * words); }
};

struct Record {
    uint32_t first, end, change_bytes, beat_bytes;
    std::vector<char> content;

    const Entry *changes() const { return (const Entry *)content.data(); }
    const Entry *beats() const { return (const Entry *)(content.data() + change_bytes); }
    const Entry *behind() const { return (const Entry *)(content.data() + content.size()); }
};

static bool read(const char *path, Record &record) {
    FILE *file = fopen(path, "rb");
    bool good = file && fread(&record, 4, 4, file) == 4;
    if (good) {
        record.content.resize(record.change_bytes + record.beat_bytes);
        good = fread(record.content.data(), 1, record.content.size(), file) == record.content.size();
    }
    if (file) fclose(file);
    return good;
}

static bool same(const Stream &stream, const Entry &beat) {
    const char *expected = beat.data();
    for (const Port &port : stream.ports) {
        if (memcmp(expected, port.data, port.bytes)) return false;
        expected += (port.bytes + 3) / 4 * 4;
    }
    return true;
}

int main(int count, char **arguments) {
    Record record;
    if (count != 2 || !read(arguments[1], record)) {
        fprintf(stderr, "no record\n");
        return 2;
    }
    auto top = std::make_unique<Vtop>("");
#define PORT(name) {&top->name, sizeof top->name},
#define STREAM(valid, ready, ...) {&top->valid, &top->ready, {__VA_ARGS__}},
    const Port inputs[] = {INPUTS(PORT)};
    const Stream outputs[] = {OUTPUTS(STREAM, PORT)};
    const Entry *change = record.changes(), *beat = record.beats();
    clock_t started = 0;
    for (uint32_t cycle = 0; cycle < record.end; cycle++) {
        if (cycle == record.first) started = clock();
        for (; change != record.beats() && change->cycle == cycle; change = change->next()) {
            const Port &port = inputs[change->number];
            memcpy(port.data, change->data(), std::min(port.bytes, size_t(4 * change->words)));
        }
        top->clk = 0;
        top->eval();
        uint16_t number = 0;
        for (const Stream &stream : outputs) {
            if (*stream.valid && *stream.ready) {
                if (beat == record.behind() || beat->cycle != cycle || beat->number != number || !same(stream, *beat)) {
                    fprintf(stderr, "cycle %u: output %d is not as recorded\n", cycle, number);
                    return 1;
                }
                beat = beat->next();
            }
            number++;
        }
        top->clk = 1;
        top->eval();
    }
    double seconds = double(clock() - started) / CLOCKS_PER_SEC;
    if (beat != record.behind() && beat->cycle < record.end) {
        fprintf(stderr, "cycle %u: a beat is missing\n", beat->cycle);
        return 1;
    }
    printf("%.6f\n", seconds);
    return 0;
}
