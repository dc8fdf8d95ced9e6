// The whole contract from C; see ../../README.md.

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "task.h"

// Ends the task with a trap where the contract itself does not hold.
static void check(bool holds) {
  if (!holds) abort();
}

static void emit(const char *text, size_t len) {
  task_list_u8_t chunk = {(uint8_t *)text, len};
  adit_task_host_emit(&chunk);
}

__attribute__((format(printf, 1, 2))) static void line(const char *format, ...) {
  char text[256];
  va_list args;
  va_start(args, format);
  int len = vsnprintf(text, sizeof text - 1, format, args);
  va_end(args);
  check(len >= 0 && (size_t)len < sizeof text - 1);
  text[len] = '\n';
  emit(text, len + 1);
}

static void progress(uint64_t done, const char *what) {
  task_string_t note;
  task_string_set(&note, what);
  adit_task_host_progress(done, 2, &note);
}

static void use_model(void) {
  task_string_t name;
  task_string_set(&name, "double");
  wasi_nn_graph_own_graph_t graph;
  wasi_nn_graph_own_graph_execution_context_t context;
  wasi_nn_inference_own_error_t error;
  check(wasi_nn_graph_load_by_name(&name, &graph, &error));
  check(wasi_nn_graph_method_graph_init_execution_context(wasi_nn_graph_borrow_graph(graph),
                                                          &context, &error));

  uint32_t two = 2;
  float values[2] = {1.5f, -2.0f};
  wasi_nn_tensor_tensor_dimensions_t dimensions = {&two, 1};
  wasi_nn_tensor_tensor_data_t data = {(uint8_t *)values, sizeof values};
  wasi_nn_inference_named_tensor_t x;
  task_string_set(&x.f0, "x");
  x.f1 = wasi_nn_tensor_constructor_tensor(&dimensions, WASI_NN_TENSOR_TENSOR_TYPE_FP32, &data);
  wasi_nn_inference_list_named_tensor_t inputs = {&x, 1}, outputs;
  check(wasi_nn_inference_method_graph_execution_context_compute(
      wasi_nn_inference_borrow_graph_execution_context(context), &inputs, &outputs, &error));
  check(outputs.len == 1 && outputs.ptr[0].f0.len == 1 && outputs.ptr[0].f0.ptr[0] == 'y');

  wasi_nn_tensor_borrow_tensor_t y = wasi_nn_tensor_borrow_tensor(outputs.ptr[0].f1);
  wasi_nn_tensor_method_tensor_dimensions(y, &dimensions);
  check(dimensions.len == 1);
  check(wasi_nn_tensor_method_tensor_ty(y) == WASI_NN_TENSOR_TENSOR_TYPE_FP32);
  wasi_nn_tensor_method_tensor_data(y, &data);
  check(data.len == sizeof values);
  memcpy(values, data.ptr, data.len);
  line("double [%" PRIu32 "] FP32 %g %g", dimensions.ptr[0], values[0], values[1]);

  wasi_nn_tensor_tensor_dimensions_free(&dimensions);
  wasi_nn_tensor_tensor_data_free(&data);
  wasi_nn_inference_list_named_tensor_free(&outputs);
  wasi_nn_inference_graph_execution_context_drop_own(context);
  wasi_nn_graph_graph_drop_own(graph);
}

static void miss_model(void) {
  task_string_t name;
  task_string_set(&name, "absent");
  wasi_nn_graph_own_graph_t graph;
  wasi_nn_graph_own_error_t error;
  check(!wasi_nn_graph_load_by_name(&name, &graph, &error));
  wasi_nn_errors_error_code_t code =
      wasi_nn_errors_method_error_code(wasi_nn_errors_borrow_error(error));
  wasi_nn_errors_error_drop_own(error);
  line("absent %s", code == WASI_NN_ERRORS_ERROR_CODE_NOT_FOUND ? "not-found" : "another error");
}

static void use_clock_and_random(void) {
  struct timespec earlier, later;
  check(clock_gettime(CLOCK_MONOTONIC, &earlier) == 0);
  check(clock_gettime(CLOCK_MONOTONIC, &later) == 0);
  bool rising = later.tv_sec > earlier.tv_sec ||
                (later.tv_sec == earlier.tv_sec && later.tv_nsec > earlier.tv_nsec);
  line("clock %lld %s", (long long)time(NULL), rising ? "rising" : "still");
  uint64_t random;
  check(getentropy(&random, sizeof random) == 0);
  line("random %016" PRIx64, random);
}

bool exports_task_run(task_list_u8_t *input, task_list_u8_t *output, task_task_error_t *error) {
  if (input->len == 4 && memcmp(input->ptr, "fail", 4) == 0) {
    emit("before ", 7);
    error->code = 42;
    task_string_dup(&error->message, "as asked");
    return false;
  }
  progress(1, "begun");
  line("input %.*s", (int)input->len, (const char *)input->ptr);
  task_list_u8_free(input);
  use_model();
  miss_model();
  use_clock_and_random();
  progress(2, "done");
  output->ptr = (uint8_t *)strdup("done\n");
  check(output->ptr != NULL);
  output->len = 5;
  return true;
}
