#include "ops/crash.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>

#include "bus/current_plugin.h"

namespace berth::ops {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

void name_plugin_on_crash(const char*, const char*) {}  // sanitizers report better

#else

namespace {

// Only what a signal handler may do from here on.

const char* program_name = "";
const char* what_then = "";

void say(std::string_view text) { (void)!::write(2, text.data(), text.size()); }

std::string_view name_of(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "SIGSEGV";
    case SIGBUS:
      return "SIGBUS";
    case SIGFPE:
      return "SIGFPE";
    case SIGILL:
      return "SIGILL";
    case SIGABRT:
      return "SIGABRT";
    default:
      return "a signal";
  }
}

void handle(int signal, siginfo_t* info, void*) {
  say(program_name);
  say(": ");
  say(name_of(signal));
  if (const bus::CurrentPlugin* plugin = bus::CurrentPlugin::innermost(); plugin != nullptr) {
    say(" in ");
    say(plugin->what());
    say(" of plugin ");
    say(plugin->plugin());
    say(": ");
    say(what_then);
    say("\n");
  } else {
    say(" outside of any call of a plugin: ");
    say(program_name);
    say(" ends\n");
  }
  // The handler is gone (SA_RESETHAND): what failed fails again on return, now with the default
  // action. What somebody sent does not come again by itself.
  if (info->si_code <= 0) (void)::raise(signal);
}

}  // namespace

void name_plugin_on_crash(const char* program, const char* advice) {
  program_name = program;
  what_then = advice;
  static char stack[64 * 1024];  // of this thread, for a stack that has overflowed
  stack_t alternative{};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof stack;
  ::sigaltstack(&alternative, nullptr);
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = static_cast<int>(SA_SIGINFO | SA_RESETHAND | SA_ONSTACK);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
    ::sigaction(signal, &action, nullptr);
  }
}

#endif

}  // namespace berth::ops
