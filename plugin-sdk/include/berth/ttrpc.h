// ttrpc, the protocol between a container daemon and its shims: unary and streaming calls over a
// unix socket.
//
// Layers, each usable alone: frames (ttrpc/frame.h), the envelope inside them (ttrpc/envelope.h),
// one event thread for any number of connections (ttrpc/loop.h), and on top of these a client and a
// server. No protobuf library is needed: payloads are bytes here. Protocol:
// https://github.com/containerd/ttrpc, PROTOCOL.md.
#pragma once

#include <berth/ttrpc/client.h>    // IWYU pragma: export
#include <berth/ttrpc/envelope.h>  // IWYU pragma: export
#include <berth/ttrpc/frame.h>     // IWYU pragma: export
#include <berth/ttrpc/loop.h>      // IWYU pragma: export
#include <berth/ttrpc/server.h>    // IWYU pragma: export
