internal import Compute
import Files

extension DynamicLibrary {
  /// A function that the library must have.
  ///
  /// - Throws: `ComputeError.unavailable` with `remedy` where it has none of that name.
  func require<Function>(_ name: String, remedy: Remedy) throws -> Function {
    guard let function = function(name, as: Function.self) else {
      throw ComputeError.unavailable(what: "\(name) in \(self.name)", remedy: remedy)
    }
    return function
  }
}

/// Where the libraries of the CUDA toolkit are looked for.
enum CUDALibraries {
  /// A directory to look in first; the toolkit's and the linker's own places follow.
  static let variable = "MINFERENCE_CUDA_LIBRARIES"

  /// NVRTC looks for its second library where the linker looks, not beside itself: one that is open
  /// already is found.
  private static func openCompanions(in directory: String) {
    let names = (try? WholeFile.names(inDirectory: directory)) ?? []
    for name in names where name.hasPrefix("libnvrtc-builtins.so") {
      HostSystem.preload(directory + "/" + name)
    }
  }

  /// Opens NCCL, whose version is its own. Beside the directory that ``variable`` names its sister is
  /// looked into, as Python's packages lie: `.../nvidia/cu13/lib` and `.../nvidia/nccl/lib`.
  static func openCollectives(remedy: Remedy) throws -> DynamicLibrary {
    let name = "libnccl.so.2"
    var paths: [String] = []
    if let directory = HostSystem.environment(variable) {
      paths = [directory + "/" + name, directory + "/../../nccl/lib/" + name]
    }
    return try DynamicLibrary(
      oneOf: paths + [name, "/usr/local/cuda/lib64/" + name], remedy: remedy)
  }

  /// Opens the newest of a library's versions. `name` is its file name without the version.
  static func open(_ name: String) throws -> DynamicLibrary {
    let files = [".13", ".12", ""].map { name + $0 }
    var paths: [String] = []
    if let directory = HostSystem.environment(variable) {
      paths += files.map { directory + "/" + $0 }
      openCompanions(in: directory)
    }
    paths += files
    paths += files.map { "/usr/local/cuda/lib64/" + $0 }
    return try DynamicLibrary(
      oneOf: paths,
      remedy: Remedy(
        "install the CUDA 12 or 13 libraries (apt-get install cuda-nvrtc-13-0 libcublas-13-0,"
          + " or pip install nvidia-cuda-nvrtc nvidia-cublas) and name their directory in "
          + variable))
  }
}
