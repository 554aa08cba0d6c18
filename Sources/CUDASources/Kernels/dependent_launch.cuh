// Kernels that may begin before the one in front of them has ended (programmatic dependent launch, Hopper and later): the time that a
// launch takes passes beside the work of the kernel before. Without the launch attribute, and on other GPUs, both calls do nothing.
#ifndef MI_DEPENDENT_LAUNCH_CUH
#define MI_DEPENDENT_LAUNCH_CUH

#include "common.cuh"

namespace mi {

/// Waits until the kernels in front have ended and what they wrote can be read. Every thread calls it, before it reads anything that a
/// kernel wrote and before it writes anything: whoever waits for this kernel waits for those in front as well.
__device__ __forceinline__ void waitForKernelsInFront() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the kernel behind begin, once every block has come here.
__device__ __forceinline__ void letKernelBehindBegin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace mi

#endif
