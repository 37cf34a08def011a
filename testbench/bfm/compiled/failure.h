// What ends a run: Python makes the exception of the same name of it.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <string>

enum class Fault { stream, protocol, budget, read_ownership, write_ownership };

struct Failure {
    Fault fault;
    std::string what;
    uint64_t address = 0;       // of an access to memory that was not given
    int length = 0;
};

[[gnu::format(printf, 2, 3)]] inline Failure failure(Fault fault, const char *format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return {fault, text};
}
