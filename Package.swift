// swift-tools-version: 6.1
import PackageDescription

let swiftSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

/// One Swift target of this package; every one is built with the same language settings.
func module(_ name: String, imports dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

/// The tests of one target. Goldens lie in `Goldens/` beside the tests and are read by path.
func tests(
  of name: String, imports dependencies: [Target.Dependency] = [], goldens: Bool = false
) -> Target {
  .testTarget(
    name: name + "Tests", dependencies: [.target(name: name)] + dependencies,
    exclude: goldens ? ["Goldens"] : [], swiftSettings: swiftSettings)
}

let package = Package(
  name: "swift-minference",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "MInference", targets: ["MInference"]),
    .executable(name: "minference", targets: ["MInferenceCommand"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
  ],
  targets: [
    .target(name: "CSystem"),
    .target(name: "CKernels"),
    // Kernels are embedded as text and compiled when they are first used.
    .target(name: "CUDASources", exclude: ["Kernels"]),
    module("StoredNumbers"),
    module("Checkpoints", imports: ["CSystem", "StoredNumbers"]),
    module("Tokenizers"),
    module("ChatTemplates"),
    module("Compute", imports: ["StoredNumbers"]),
    // Backends that stand in for others: verification and tests build on them.
    module("BackendTesting", imports: ["Compute"]),
    module("ComputeCPU", imports: ["Compute", "CKernels", "CSystem", "StoredNumbers"]),
    module("ComputeCUDA", imports: ["Compute", "CUDASources", "CSystem", "StoredNumbers"]),
    module("SparseAttention", imports: ["Compute"]),
    module(
      "Transformers", imports: ["Checkpoints", "Compute", "SparseAttention", "StoredNumbers"]),
    module(
      "PatternSearch",
      imports: ["Checkpoints", "Compute", "CSystem", "SparseAttention", "Transformers"]),
    module(
      "MInference",
      imports: [
        "ChatTemplates", "Checkpoints", "Tokenizers", "Compute", "ComputeCPU", "ComputeCUDA",
        "SparseAttention", "Transformers",
      ]),
    module("TextReports"),
    module("EvaluationTasks", imports: ["MInference", "TextReports"]),
    module(
      "KernelVerification",
      imports: [
        "MInference", "BackendTesting", "EvaluationTasks", "StoredNumbers", "TextReports",
      ]),
    module("Benchmarks", imports: ["MInference", "EvaluationTasks", "TextReports"]),
    module("Plots", imports: ["MInference", "EvaluationTasks", "TextReports"]),
    // Not named as its product: folders whose names differ in case alone are one on some systems.
    .executableTarget(
      name: "MInferenceCommand",
      dependencies: [
        "MInference", "EvaluationTasks", "KernelVerification", "Benchmarks", "Plots",
        "TextReports", "PatternSearch", "CSystem",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: swiftSettings),
    tests(of: "StoredNumbers", goldens: true),
    tests(of: "Checkpoints", imports: ["CSystem", "StoredNumbers"], goldens: true),
    tests(of: "Tokenizers", goldens: true),
    tests(of: "ChatTemplates", goldens: true),
    tests(of: "Compute", imports: ["StoredNumbers"]),
    tests(of: "ComputeCPU", imports: ["Compute", "StoredNumbers"]),
    tests(of: "ComputeCUDA", imports: ["Compute", "CUDASources"]),
    tests(of: "SparseAttention", imports: ["Compute"]),
    tests(
      of: "Transformers",
      imports: ["BackendTesting", "Checkpoints", "Compute", "ComputeCPU", "SparseAttention"],
      goldens: true),
    tests(
      of: "PatternSearch",
      imports: ["Checkpoints", "Compute", "ComputeCPU", "SparseAttention", "Transformers"]),
    // Directories and checkpoints that tests write, and that go away with them.
    .target(
      name: "TemporaryCheckpoints", dependencies: ["Checkpoints"],
      path: "Tests/TemporaryCheckpoints", swiftSettings: swiftSettings),
    tests(of: "MInference", imports: ["TemporaryCheckpoints"]),
    // They run the product that is built beside them.
    tests(of: "MInferenceCommand", imports: ["MInference", "TemporaryCheckpoints"]),
    tests(of: "TextReports"),
    tests(of: "EvaluationTasks", imports: ["MInference"], goldens: true),
    tests(of: "KernelVerification", imports: ["MInference", "BackendTesting"]),
    tests(of: "Benchmarks", imports: ["MInference"]),
    tests(of: "Plots", imports: ["MInference", "EvaluationTasks"]),
  ]
)
