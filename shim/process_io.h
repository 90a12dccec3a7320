// The standard streams of one process: from what a client names to what the runtime inherits.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "children.h"
#include "console.h"
#include "stream.h"

namespace berth::shim {

struct StdioSpec {
  std::string in;   // a fifo
  std::string out;  // a fifo, file:///PATH or binary:///PATH?KEY=VALUE; empty: none
  std::string err;
  bool terminal = false;
};

struct StdioOwner {
  std::string ns;
  std::string container;
  std::string bundle;
  std::string name;  // of files in the bundle, one per process
  uint32_t uid = 0;  // of the streams, for a container with a user namespace
  uint32_t gid = 0;
};

class Stdio : public std::enable_shared_from_this<Stdio> {
 public:
  /// Opens everything. Waits a moment for the reader of a fifo. On a worker's thread.
  static Result<std::shared_ptr<Stdio>> open(std::shared_ptr<ttrpc::Loop> loop, Children* children,
                                             const StdioSpec& spec, const StdioOwner& owner);

  /// For the runtime, -1 where there is none; valid until begin().
  int child_in() const { return child_in_.get(); }
  int child_out() const { return child_out_.get(); }
  int child_err() const { return child_err_.get(); }
  /// For --console-socket; empty without a terminal.
  std::string console_path() const { return console_ ? console_->path() : std::string(); }

  /// After the runtime has made the process: takes the terminal, closes the runtime's ends, copies.
  Status begin();

  Status resize(uint32_t width, uint32_t height);
  /// The client sends no more: the process reads its input's end after what has been sent.
  void close_input();
  /// After the end of the process: whether the client has what it wrote until then. Clients give up
  /// their reading ends when they hear of the end, so that what they have not read is lost. True as
  /// well when nobody reads, or not for a moment. Loop's thread.
  bool taken();
  /// Waits until all output has been passed on. Gives up when nothing has moved for `seconds`:
  /// somebody else holds the pipes, or the client does not read.
  void drain(int seconds);
  /// Closes everything. Any thread; what is under way on the loop's thread ends there.
  void close();

 private:
  Stdio(std::shared_ptr<ttrpc::Loop> loop, const StdioSpec& spec)
      : loop_(std::move(loop)), spec_(spec) {}
  struct Sink {
    UniqueFd fd;
    UniqueFd keep;
  };
  static Result<Sink> open_sink(const std::string& name);
  Status open_input(const StdioOwner& owner);
  Status open_output(const std::string& name, const StdioOwner& owner, UniqueFd* child, Sink* sink,
                     UniqueFd* source);
  Status start_logger(Children* children, const StdioOwner& owner);
  void add_stream(UniqueFd source, Sink sink);
  void output_ended();

  const std::shared_ptr<ttrpc::Loop> loop_;
  const StdioSpec spec_;
  std::optional<ConsoleSocket> console_;
  UniqueFd child_in_;
  UniqueFd child_out_;
  UniqueFd child_err_;
  UniqueFd in_source_;  // the client's fifo
  UniqueFd in_sink_;
  UniqueFd out_source_;
  UniqueFd err_source_;
  Sink out_;
  Sink err_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  UniqueFd in_hold_;  // the writing end of the client's fifo: no end of input before close_input()
  UniqueFd terminal_;
  std::shared_ptr<Stream> input_;
  std::vector<std::shared_ptr<Stream>> outputs_;
  size_t open_outputs_ = 0;
  bool closed_ = false;

  // Of taken(), in nanoseconds, and of its thread alone.
  int64_t asked_ = 0;
  int64_t moved_ = 0;
  uint64_t passed_ = 0;
};

}  // namespace berth::shim
