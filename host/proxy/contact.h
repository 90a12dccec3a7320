// Whether a program answers at the address of a proxied plugin.
#pragma once

#include <berth/fd.h>
#include <sys/types.h>

#include <string>

namespace berth::proxy {

enum class Contact { kAnswers, kNobody, kSilent, kForeign, kForbidden };

struct Contacted {
  Contact contact = Contact::kAnswers;
  pid_t pid = 0;             // of the process that listens; 0 where the kernel does not know it
  std::string process_name;  // and its name
  std::string reason;        // why it does not answer, one line; empty when it does
  bool stopped = false;      // it does not, since its process is stopped
};

/// The path of a unix socket, of an address with or without "unix://".
std::string path_of(const std::string& address);

/// Connects and says what a client of gRPC says first, and no call: a server has to answer that by
/// itself (RFC 9113, 3.4), whatever it serves. The constructor does not wait, so that several may
/// be asked at once. One thread.
class Greeting {
 public:
  explicit Greeting(std::string address);
  /// What came of it, with an answer awaited until then (CLOCK_MONOTONIC). Once.
  Contacted answer(int64_t deadline);

 private:
  Contacted failed(Contact contact, const std::string& why) const;
  std::string listener() const;

  const std::string address_;
  UniqueFd socket_;
  Contacted known_;  // contact is kAnswers while nothing speaks against it
};

}  // namespace berth::proxy
