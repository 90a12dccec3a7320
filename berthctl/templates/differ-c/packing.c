#include "packing.h"

#include <berth/c_helpers.h>
#include <limits.h>
#include <zlib.h>
#include <zstd.h>

#define WITH_HEADER (16 + MAX_WBITS) /* gzip's, to zlib */
#define STEP 65536

static int32_t no_memory(struct failure *why) { return fail(why, BERTH_CODE_RESOURCE_EXHAUSTED, "no memory for a layer"); }

static int32_t damaged(struct failure *why) {
  return fail(why, BERTH_CODE_INVALID_ARGUMENT, "the layer is not compressed as its media type says, or it is damaged or cut");
}

/* As much of the input as zlib takes at once; it counts in unsigned ints. */
static void feed(z_stream *stream, const char *end) {
  const size_t left = (size_t)(end - (const char *)stream->next_in);
  stream->avail_in = left < UINT_MAX ? (uInt)left : UINT_MAX;
}

static int32_t inflate_all(const struct bytes *blob, struct bytes *out, struct failure *why) {
  const char *end = blob->data + blob->size;
  unsigned char buffer[STEP];
  z_stream stream = {0};
  int code = Z_OK;
  int added = 0;
  if (inflateInit2(&stream, WITH_HEADER) != Z_OK) return no_memory(why);
  stream.next_in = (Bytef *)blob->data;
  feed(&stream, end);
  while (added == 0 && (code == Z_OK || (code == Z_STREAM_END && stream.avail_in > 0))) {
    if (code == Z_STREAM_END) (void)inflateReset(&stream); /* another member */
    stream.next_out = buffer;
    stream.avail_out = STEP;
    code = inflate(&stream, Z_NO_FLUSH);
    added = bytes_add(out, buffer, STEP - stream.avail_out);
    feed(&stream, end);
  }
  (void)inflateEnd(&stream);
  if (added != 0) return no_memory(why);
  return code == Z_STREAM_END ? 0 : damaged(why);
}

static int32_t deflate_all(const struct bytes *layer, struct bytes *out, struct failure *why) {
  const char *end = layer->data + layer->size;
  unsigned char buffer[STEP];
  z_stream stream = {0};
  int code = Z_OK;
  int added = 0;
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WITH_HEADER, 8, Z_DEFAULT_STRATEGY) != Z_OK) return no_memory(why);
  stream.next_in = (Bytef *)layer->data;
  while (added == 0 && code == Z_OK) {
    feed(&stream, end);
    stream.next_out = buffer;
    stream.avail_out = STEP;
    code = deflate(&stream, (const char *)stream.next_in + stream.avail_in == end ? Z_FINISH : Z_NO_FLUSH);
    added = bytes_add(out, buffer, STEP - stream.avail_out);
  }
  (void)deflateEnd(&stream);
  return added == 0 && code == Z_STREAM_END ? 0 : no_memory(why);
}

static int32_t zstd_decompress_all(const struct bytes *blob, struct bytes *out, struct failure *why) {
  char buffer[STEP];
  ZSTD_inBuffer in = {blob->data, blob->size, 0};
  ZSTD_outBuffer step = {buffer, sizeof buffer, 0};
  size_t left = 1;
  int added = 0;
  ZSTD_DStream *stream = ZSTD_createDStream();
  if (stream == NULL) return no_memory(why);
  do {
    step.pos = 0;
    left = ZSTD_decompressStream(stream, &step, &in);
    added = bytes_add(out, buffer, step.pos);
  } while (added == 0 && !ZSTD_isError(left) && !(in.pos == in.size && step.pos < step.size));
  (void)ZSTD_freeDStream(stream);
  if (added != 0) return no_memory(why);
  return left == 0 ? 0 : damaged(why);
}

static int32_t zstd_compress_all(const struct bytes *layer, struct bytes *out, struct failure *why) {
  char buffer[STEP];
  ZSTD_inBuffer in = {layer->data, layer->size, 0};
  ZSTD_outBuffer step = {buffer, sizeof buffer, 0};
  size_t left = 1;
  int added = 0;
  ZSTD_CStream *stream = ZSTD_createCStream();
  if (stream == NULL) return no_memory(why);
  do {
    step.pos = 0;
    left = ZSTD_compressStream2(stream, &step, &in, ZSTD_e_end);
    added = bytes_add(out, buffer, step.pos);
  } while (added == 0 && !ZSTD_isError(left) && left != 0);
  (void)ZSTD_freeCStream(stream);
  return added == 0 && left == 0 ? 0 : no_memory(why);
}

int32_t unpack(const struct bytes *blob, enum packing packing, struct bytes *out, struct failure *why) {
  if (packing == GZIP) return inflate_all(blob, out, why);
  if (packing == ZSTD) return zstd_decompress_all(blob, out, why);
  return bytes_add(out, blob->data, blob->size) == 0 ? 0 : no_memory(why);
}

int32_t pack(const struct bytes *layer, enum packing packing, struct bytes *out, struct failure *why) {
  if (packing == GZIP) return deflate_all(layer, out, why);
  if (packing == ZSTD) return zstd_compress_all(layer, out, why);
  return bytes_add(out, layer->data, layer->size) == 0 ? 0 : no_memory(why);
}
