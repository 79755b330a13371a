#include "trace/trace-accel_age.h"
