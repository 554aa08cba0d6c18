// SIGINT that something running wants for itself. Nothing but atomics is used inside the handler.

#include "CSystemCalls.h"

#include <stdatomic.h>

static _Atomic bool catching;
static _Atomic int taken;

void csystem_catch_interrupts(bool catches) {
  atomic_store(&taken, 0);
  atomic_store(&catching, catches);
}

bool csystem_take_interrupt(void) {
  return atomic_load(&catching) && atomic_fetch_add(&taken, 1) == 0;
}

bool csystem_was_interrupted(void) { return atomic_load(&taken) > 0; }
