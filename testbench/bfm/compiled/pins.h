// Ports of the top level: through VPI, which Verilator and Icarus offer alike, or with DIRECT_PORTS straight in the memory
// of Verilator's model, which is several times cheaper.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include <vpi_user.h>

#ifdef DIRECT_PORTS
#include <verilated.h>
#include <verilated_syms.h>
#endif

constexpr int MOST_WORDS = 16;      // 512 bits

class VpiPin {
public:
    void open(const std::string &top, const std::string &name) {
        for (const char *prefix : {"", "TOP."}) {
            handle_ = vpi_handle_by_name(const_cast<char *>((prefix + top + "." + name).c_str()), nullptr);
            if (handle_) break;
        }
        if (!handle_) throw name;
        words_ = (vpi_get(vpiSize, handle_) + 31) / 32;
    }

    int words() const { return words_; }

    // The value into `words` words at `value`; false if bits of it are unknown.
    bool read(uint32_t *value) const {
        s_vpi_value v;
        v.format = vpiVectorVal;
        vpi_get_value(handle_, &v);
        uint32_t unknown = 0;
        for (int i = 0; i < words_; i++) {
            value[i] = v.value.vector[i].aval;
            unknown |= v.value.vector[i].bval;
        }
        return !unknown;
    }

    // A single word; unknown bits read as 0.
    uint32_t level() const {
        s_vpi_value v;
        v.format = vpiVectorVal;
        vpi_get_value(handle_, &v);
        return v.value.vector[0].aval & ~v.value.vector[0].bval;
    }

    void write(const uint32_t *value) const {
        s_vpi_vecval vector[MOST_WORDS];
        for (int i = 0; i < words_; i++) {
            vector[i].aval = value[i];
            vector[i].bval = 0;
        }
        s_vpi_value v;
        v.format = vpiVectorVal;
        v.value.vector = vector;
        vpi_put_value(handle_, &v, nullptr, vpiNoDelay);
    }

    void write(uint32_t value) const { write(&value); }

private:
    vpiHandle handle_ = nullptr;
    int words_ = 0;
};

#ifdef DIRECT_PORTS

class Pin {
public:
    void open(const std::string &top, const std::string &name) {
        VpiPin pin;
        pin.open(top, name);
        words_ = pin.words();
        const VerilatedScope *scope = Verilated::scopeFind("TOP");
        VerilatedVar *port = scope ? scope->varFind(name.c_str()) : nullptr;
        if (!port) throw name;
        data_ = port->datap();
        switch (port->vltype()) {
        case VLVT_UINT8: bytes_ = 1; break;
        case VLVT_UINT16: bytes_ = 2; break;
        default: bytes_ = 4 * words_;
        }
    }

    int words() const { return words_; }

    bool read(uint32_t *value) const {
        *value = 0;
        memcpy(value, data_, bytes_);
        return true;
    }

    uint32_t level() const { return *(const uint8_t *)data_; }

    void write(const uint32_t *value) const { memcpy(data_, value, bytes_); }

private:
    void *data_ = nullptr;
    size_t bytes_ = 0;
    int words_ = 0;
};

#else
using Pin = VpiPin;
#endif

// An input of the card, changed behind the clock's falling edge: the next rising edge sees it.
class Input {
public:
    void open(const std::string &top, const std::string &name) {
        pin_.open(top, name);
        put(0u);
    }

    int words() const { return pin_.words(); }

    void put(const uint32_t *value) {
        size_t bytes = 4 * pin_.words();
        if (known_ && !memcmp(value, value_, bytes)) return;
        memcpy(value_, value, bytes);
        known_ = waits_ = true;
    }

    void put(uint32_t value) {
        uint32_t wide[MOST_WORDS] = {value};
        put(wide);
    }

    void apply() {
        if (waits_) pin_.write(value_);
        waits_ = false;
    }

private:
    Pin pin_;
    uint32_t value_[MOST_WORDS];
    bool known_ = false, waits_ = false;
};
