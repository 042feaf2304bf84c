// A kernel's arguments. Its buffers are copies with guards around, from which what it wrote is copied back.
#pragma once
#include <type_traits>

#include "state.hpp"

namespace [[gnu::visibility("hidden")]] simt {

class Arguments {
public:
  explicit Arguments(const Launch &launch) {
    for (size_t i = 0; i < launch.n_arguments; ++i) add(launch.arguments[i]);
  }
  Arguments(const Arguments &) = delete;

  size_t size() const { return values_.size(); }
  const Argument &operator[](size_t i) const { return values_[i]; }

  void copy_back() const {
    for (const Buffer &buffer : buffers_) memcpy(buffer.original, buffer.copy.begin(), buffer.copy.size());
  }

  // Names the argument that `address` belongs to, or just misses.
  bool find(const void *address, size_t *place, long *offset, size_t *n_bytes) const {
    for (const Buffer &buffer : buffers_) {
      *place = buffer.place;
      *n_bytes = buffer.copy.size();
      if (buffer.copy.near(address, offset)) return true;
    }
    return false;
  }

  // Notes it where a kernel wrote beside a buffer, but not so far that it was stopped.
  void check(const char *kernel) const {
    long offset = 0;
    for (const Buffer &buffer : buffers_)
      if (buffer.copy.overrun(&offset) && !machine.failure[0])
        snprintf(machine.failure, kMessage, "kernel %s wrote byte %ld of argument %zu, which has %zu bytes",
                 kernel, offset, buffer.place, buffer.copy.size());
  }

private:
  struct Buffer {
    size_t place; // among the arguments, from 0
    void *original;
    GuardedMemory copy;
  };

  void add(Argument argument) {
    if (argument.kind == '=') argument = {'p', 0, values_.at(argument.n_bytes).value};
    const bool guarded = SIMT_ASAN || SIMT_TSAN; // by the sanitizer
    if (argument.kind == 'p' && argument.n_bytes && !guarded) {
      const size_t phase = reinterpret_cast<uintptr_t>(argument.value) % kAlign;
      buffers_.push_back({values_.size(), argument.value, GuardedMemory(argument.n_bytes, phase)});
      memcpy(buffers_.back().copy.begin(), argument.value, argument.n_bytes);
      argument.value = buffers_.back().copy.begin();
    }
    values_.push_back(argument);
  }

  std::vector<Argument> values_;
  std::vector<Buffer> buffers_;
};

template <class T> constexpr char kNumber = std::is_floating_point_v<T> ? 'f' : 'i';
template <class T> constexpr char kKind = std::is_pointer_v<T> ? 'p' : kNumber<T>;

template <class T> T value_of(const Argument &argument) {
  if constexpr (std::is_pointer_v<T>) {
    return static_cast<T>(argument.value);
  } else {
    T value;
    memcpy(&value, argument.value, sizeof value);
    return value;
  }
}

// Notes it where an argument is not what the kernel's parameter `place` must be.
template <class T> bool fits(const Argument &argument, const char *kernel, size_t place) {
  if (argument.kind == kKind<T> && (std::is_pointer_v<T> || argument.n_bytes == sizeof(T))) return true;
  const char *wanted = kKind<T> == 'p' ? "a pointer" : kKind<T> == 'f' ? "a real number" : "a whole number";
  snprintf(machine.failure, kMessage, "kernel %s: argument %zu, counted from 0, must be %s of %zu bytes",
           kernel, place, wanted, sizeof(T));
  return false;
}

} // namespace simt
