from modelyard.controller.main import main

if __name__ == "__main__":
    main()
