#include "inputs.h"

#include <berth/digest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <stdexcept>

#include "machine.h"
#include "tar_writer.h"

namespace berth::bench {
namespace {

using Random = std::mt19937_64;

std::string random_bytes(Random& random, size_t size) {
  std::string bytes((size + 7) / 8 * 8, '\0');
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, sizeof word);
  }
  bytes.resize(size);
  return bytes;
}

/// Contents of files. A file is a part of one of three long texts, so that no two are alike.
class Contents {
 public:
  explicit Contents(Random* random)
      : random_(*random),
        words_(make_words()),
        code_(make_code()),
        noise_(random_bytes(random_, kPool)) {}

  std::string_view next(size_t size) {
    const double kind = std::uniform_real_distribution<>(0, 1)(random_);
    const std::string& pool = kind < kTextShare                ? words_
                              : kind < kTextShare + kCodeShare ? code_
                                                               : noise_;
    size = std::min(size, pool.size() - 1);
    const size_t offset = random_() % (pool.size() - size);
    return std::string_view(pool).substr(offset, size);
  }

 private:
  static constexpr size_t kPool = 64 << 20;
  static constexpr double kTextShare = 0.5, kCodeShare = 0.35;

  /// Words of a vocabulary in which few are frequent: gzip makes a third of it.
  std::string make_words() {
    std::vector<std::string> vocabulary(20'000);
    for (std::string& word : vocabulary) {
      const size_t length = 2 + random_() % 9;
      for (size_t i = 0; i < length; ++i) word += static_cast<char>('a' + random_() % 26);
    }
    std::string text;
    text.reserve(kPool + 16);
    std::uniform_real_distribution<> uniform(0, 1);
    while (text.size() < kPool) {
      const double x = uniform(random_);
      text += vocabulary[static_cast<size_t>(x * x * x * 19'999)];
      text += random_() % 9 == 0 ? '\n' : ' ';
    }
    return text;
  }

  /// Groups of eight bytes as in machine code: most are repeated from a set, some parts differ.
  std::string make_code() {
    std::vector<uint64_t> patterns(3000);
    for (uint64_t& pattern : patterns) pattern = random_();
    std::string code(kPool, '\0');
    for (size_t i = 0; i + 8 <= kPool; i += 8) {
      uint64_t word = patterns[random_() % patterns.size()];
      if (random_() % 4 == 0) word ^= random_() << 48;
      std::memcpy(code.data() + i, &word, sizeof word);
    }
    return code;
  }

  Random& random_;
  std::string words_, code_, noise_;
};

/// Pipes into a file through gzip, as Debian's images are made.
class GzipFile {
 public:
  explicit GzipFile(const std::string& path) : path_(path) {
    pipe_ = ::popen(("gzip -6 -n >'" + path + "'").c_str(), "we");
    if (pipe_ == nullptr) throw std::runtime_error("gzip could not be started for " + path);
  }
  ~GzipFile() {
    if (pipe_ != nullptr) ::pclose(pipe_);
  }
  GzipFile(const GzipFile&) = delete;
  GzipFile& operator=(const GzipFile&) = delete;

  void write(std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), pipe_) != bytes.size()) {
      throw std::runtime_error("writing " + path_ + " through gzip failed");
    }
  }
  size_t written() const {
    struct stat status {};
    return ::stat(path_.c_str(), &status) == 0 ? static_cast<size_t>(status.st_size) : 0;
  }
  void close() {
    const int code = ::pclose(pipe_);
    pipe_ = nullptr;
    if (code != 0) throw std::runtime_error("gzip failed for " + path_);
  }

 private:
  const std::string path_;
  FILE* pipe_;
};

void fill_layer(TarWriter* tar, const std::function<bool()>& enough) {
  Random random(20261125);
  Contents contents(&random);
  // A median of 5 KiB and a mean of about 40 KiB, as /usr of a distribution has.
  std::lognormal_distribution<> sizes(std::log(5 * 1024), 2.0);
  std::string folder, last;
  for (unsigned number = 0; !enough(); ++number) {
    if (number % 12 == 0) {
      const std::string top = "usr/share/d" + std::to_string(number / 120);
      if (number % 120 == 0) tar->directory(top);
      folder = top + "/e" + std::to_string(number / 12);
      tar->directory(folder);
    }
    const std::string name = folder + "/file-" + std::to_string(number);
    const uint64_t kind = random() % 100;
    if (kind < 8 && !last.empty()) {
      tar->symlink(name, "file-" + std::to_string(number - 1));
    } else if (kind < 9 && !last.empty()) {
      tar->hard_link(name, last);
    } else {
      const double size = std::min(sizes(random), 32.0 * 1024 * 1024);
      tar->file(name, contents.next(static_cast<size_t>(size)), kind < 20 ? 0755 : 0644);
      last = name;
    }
  }
  tar->end();
}

void write_file(const std::string& path, const std::function<void(const TarWriter::Sink&)>& fill) {
  std::ofstream out(path, std::ios::binary);
  fill([&](std::string_view bytes) {
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  });
  out.close();
  if (!out) throw std::runtime_error("writing " + path + " failed: is the disk full?");
}

/// An OCI image archive with this one layer, named so. `kind` is what follows "layer.v1.".
void write_archive(const LayerFiles& layer, const std::string& name, const std::string& kind) {
  using nlohmann::json;
  const std::string config = json{{"architecture", "amd64"},
                                  {"os", "linux"},
                                  {"config", {{"Cmd", {"/bin/true"}}}},
                                  {"rootfs", {{"type", "layers"}, {"diff_ids", {layer.diff_id}}}}}
                                 .dump();
  const auto descriptor = [](const char* type, const std::string& digest, size_t size) {
    return json{{"mediaType", std::string("application/vnd.oci.image.") + type},
                {"digest", digest},
                {"size", size}};
  };
  const std::string manifest =
      json{{"schemaVersion", 2},
           {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
           {"config", descriptor("config.v1+json", digest_of(config), config.size())},
           {"layers",
            json::array({descriptor(("layer.v1." + kind).c_str(), layer.digest, layer.size)})}}
          .dump();
  json image = descriptor("manifest.v1+json", digest_of(manifest), manifest.size());
  image["annotations"] = {{"io.containerd.image.name", name},
                          {"org.opencontainers.image.ref.name", "latest"}};
  const std::string index = json{{"schemaVersion", 2}, {"manifests", json::array({image})}}.dump();
  const auto path_of = [](const std::string& digest) {
    return "blobs/sha256/" + digest.substr(digest.find(':') + 1);
  };
  write_file(layer.archive, [&](const TarWriter::Sink& sink) {
    TarWriter tar(sink);
    tar.file("oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
    tar.file("index.json", index);
    tar.file(path_of(digest_of(manifest)), manifest);
    tar.file(path_of(digest_of(config)), config);
    tar.file(path_of(layer.digest), read_file(layer.blob));
    tar.end();
  });
}

}  // namespace

std::string digest_of(std::string_view bytes) {
  Digester digester;
  digester.update(bytes);
  return digester.digest().string();
}

RandomBlob::RandomBlob(size_t size, uint64_t seed) : size_(size) {
  Random random(seed);
  // The start of a piece moves by a prime number of bytes: no piece is like another.
  pool_ = random_bytes(random, Client::kPieceBytes * 8);
  Digester digester;
  for (size_t offset = 0; offset < size_; offset += Client::kPieceBytes) {
    digester.update(piece(offset, std::min(Client::kPieceBytes, size_ - offset)));
  }
  digest_ = digester.digest().string();
}

std::string_view RandomBlob::piece(size_t offset, size_t size) {
  const size_t start = offset / Client::kPieceBytes * 104'729 % (pool_.size() - size);
  return std::string_view(pool_).substr(start, size);
}

LayerFiles make_layer(const std::string& directory, size_t compressed_bytes) {
  LayerFiles layer;
  layer.blob = directory + "/layer.tar.gz";
  layer.archive = directory + "/image.tar";
  Digester plain;
  GzipFile gzip(layer.blob);
  TarWriter tar([&](std::string_view bytes) {
    plain.update(bytes);
    layer.uncompressed += bytes.size();
    gzip.write(bytes);
  });
  fill_layer(&tar, [&] { return gzip.written() >= compressed_bytes; });
  gzip.close();
  layer.diff_id = plain.digest().string();
  const std::string blob = read_file(layer.blob);
  layer.size = blob.size();
  layer.digest = digest_of(blob);
  write_archive(layer, "docker.io/library/bench:latest", "tar+gzip");
  return layer;
}

const LayerFiles& layer_for(const std::string& directory, size_t compressed_bytes) {
  static std::optional<LayerFiles> layer;
  if (!layer) layer = make_layer(directory, compressed_bytes);
  return *layer;
}

std::string busybox_layer(const std::string& program) {
  std::string layer;
  TarWriter tar([&](std::string_view bytes) { layer += bytes; });
  for (const char* name : {"bin", "dev", "etc", "proc", "run", "sys", "tmp"}) tar.directory(name);
  tar.file("bin/busybox", read_file(program), 0755);
  tar.end();
  return layer;
}

std::string busybox_archive(const std::string& directory, const std::string& name) {
  LayerFiles layer;
  layer.blob = directory + "/busybox.tar";
  layer.archive = directory + "/busybox-image.tar";
  if (::access(layer.archive.c_str(), R_OK) == 0) return layer.archive;
  const std::string bytes = busybox_layer(find_program("busybox"));
  write_file(layer.blob, [&](const TarWriter::Sink& sink) { sink(bytes); });
  layer.size = bytes.size();
  layer.digest = layer.diff_id = digest_of(bytes);
  write_archive(layer, name, "tar");
  return layer.archive;
}

}  // namespace berth::bench
