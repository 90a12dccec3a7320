// Memory that a start needs and a daemon that waits does not.
#pragma once

#include <cstddef>

namespace berth::ops {

/// Before the first thread: keeps the heap in one place. glibc would give each of the first
/// threads a region of its own, of which every one holds on to its largest hour; threads here wait
/// for clients, disks and shims far more than for each other's allocations.
void keep_heap_in_one_place();

/// Gives free heap back to the kernel, also from between blocks that are in use. For quiet times:
/// it holds up allocations for about a millisecond. Any thread.
void trim_heap();

/// Takes back pages that only the start has used: free heap, and the mapped code and constants of
/// the program and its libraries, which come back from the page cache when they are touched again.
/// Mappings with a page that differs from its file (relocations, a debugger's breakpoints) are left
/// alone. Returns the bytes by which resident memory shrank, about; 0 where /proc does not tell.
/// Any thread; others may go on.
size_t release_start_pages();

}  // namespace berth::ops
