// Sums up numbers: one on each line of the input, count, sum, mean and extremes as output.
//
// `.adit/c/task.h` says what there is. What `run` gives back, it allocates with malloc; it is freed
// for it.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task.h"

// The codes of this task's errors, for programs.
enum { NOT_A_NUMBER = 16, NO_NUMBERS = 17 };

// Room for a number in its shortest form.
enum { NUMBER_SIZE = 32 };

// An error is an answer too: every machine gives the same one for the same input.
static bool fail(task_task_error_t *error, uint32_t code, const char *message) {
  error->code = code;
  task_string_dup(&error->message, message);
  return false;
}

// The shortest form that reads as the same number.
static const char *written(double number, char text[NUMBER_SIZE]) {
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, NUMBER_SIZE, "%.*g", digits, number);
    if (strtod(text, NULL) == number) break;
  }
  return text;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

bool exports_task_run(task_list_u8_t *input, task_list_u8_t *output, task_task_error_t *error) {
  // A copy that ends with a zero, as strtod wants it.
  char *text = malloc(input->len + 1);
  if (text == NULL) abort();
  if (input->len > 0) memcpy(text, input->ptr, input->len);
  text[input->len] = '\0';
  const char *end = text + input->len;
  task_list_u8_free(input);

  task_string_t note;
  task_string_set(&note, "bytes read");
  size_t line = 0, count = 0;
  double sum = 0, smallest = 0, largest = 0;
  for (const char *at = text; at < end;) {
    // Shown to whoever waits. adit_task_host_emit would give them a part of the output already.
    if (line % 10000 == 0) adit_task_host_progress(at - text, end - text, &note);
    line++;
    const char *stop = memchr(at, '\n', end - at);
    if (stop == NULL) stop = end;
    const char *next = stop + 1;
    while (at < stop && is_blank(*at)) at++;
    while (at < stop && is_blank(stop[-1])) stop--;
    if (at < stop) {
      char *rest;
      double number = strtod(at, &rest);
      if (rest != stop) {
        // The line itself is not repeated: it need not be UTF-8, which a message has to be.
        char message[64];
        snprintf(message, sizeof message, "line %zu is not a number", line);
        free(text);
        return fail(error, NOT_A_NUMBER, message);
      }
      if (count == 0 || number < smallest) smallest = number;
      if (count == 0 || number > largest) largest = number;
      sum += number;
      count++;
    }
    at = next;
  }
  free(text);
  if (count == 0) return fail(error, NO_NUMBERS, "there are no numbers in the input");

  char a[NUMBER_SIZE], b[NUMBER_SIZE], c[NUMBER_SIZE], d[NUMBER_SIZE], result[256];
  snprintf(result, sizeof result, "count %zu\nsum %s\nmean %s\nsmallest %s\nlargest %s\n", count,
           written(sum, a), written(sum / (double)count, b), written(smallest, c),
           written(largest, d));
  output->len = strlen(result);
  output->ptr = malloc(output->len);
  if (output->ptr == NULL) abort();
  memcpy(output->ptr, result, output->len);
  return true;
}
