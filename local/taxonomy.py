"""The wider names above ImageNet's 1,000 classes, so that a dog of an unsure breed is still surely a dog."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

# name: (its own wider names, nearest first; the classes by their number in ImageNet's order)
GROUPS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "Animal": ((), "0-397"),
    "Fish": (("Animal",), "0-6 389-397"),
    "Shark": (("Fish", "Animal"), "2-4"),
    "Bird": (("Animal",), "7-24 80-100 127-146"),
    "Poultry": (("Bird", "Animal"), "7-8 80-83 85-86"),
    "Water Bird": (("Bird", "Animal"), "97-100 127-146"),
    "Parrot": (("Bird", "Animal"), "87-90"),
    "Amphibian Animal": (("Animal",), "25-32"),
    "Frog": (("Amphibian Animal", "Animal"), "30-32"),
    "Reptile": (("Animal",), "33-68"),
    "Turtle": (("Reptile", "Animal"), "33-37"),
    "Lizard": (("Reptile", "Animal"), "38-48"),
    "Crocodile": (("Reptile", "Animal"), "49-50"),
    "Snake": (("Reptile", "Animal"), "52-68"),
    "Invertebrate": (("Animal",), "69-79 107-126 300-329"),
    "Spider": (("Invertebrate", "Animal"), "72-77"),
    "Insect": (("Invertebrate", "Animal"), "300-326"),
    "Butterfly": (("Insect", "Invertebrate", "Animal"), "321-326"),
    "Crab": (("Invertebrate", "Animal"), "118-121 125"),
    "Sea Life": (("Animal",), "0-6 107-126 147-150 327-329 389-397"),
    "Mammal": (("Animal",), "101-106 147-299 330-388"),
    "Pet": (("Mammal", "Animal"), "151-268 281-285 332-333 338"),
    "Dog": (("Pet", "Mammal", "Animal"), "151-268"),
    "Hound": (("Dog", "Pet", "Mammal", "Animal"), "160-178"),
    "Terrier": (("Dog", "Pet", "Mammal", "Animal"), "158 179-204"),
    "Retriever": (("Dog", "Pet", "Mammal", "Animal"), "205-221"),
    "Sheepdog": (("Dog", "Pet", "Mammal", "Animal"), "222-235"),
    "Cat": (("Pet", "Mammal", "Animal"), "281-285"),
    "Wild Dog": (("Mammal", "Animal"), "269-280"),
    "Wild Cat": (("Mammal", "Animal"), "286-293"),
    "Bear": (("Mammal", "Animal"), "294-297"),
    "Rodent": (("Mammal", "Animal"), "333-338"),
    "Rabbit": (("Mammal", "Animal"), "330-332"),
    "Cattle": (("Mammal", "Animal"), "345-347"),
    "Pig": (("Mammal", "Animal"), "341-343"),
    "Monkey": (("Mammal", "Animal"), "365-384"),
    "Elephant": (("Mammal", "Animal"), "101 385-386"),
    "Vehicle": (
        (),
        "403-405 407-408 436 444 450 466 468 472 484 510-511 537 547 554-555 561 565 569 573 575-576 586 595 603 609"
        " 612 621 625 627-628 654 656 661 665 670-671 675 690 705 717 734 751 757 779-780 802-803 812 814 817 820"
        " 829 833 847 856 864 866-867 870-871 874 880 895 914",
    ),
    "Car": (("Vehicle",), "407 436 468 511 609 627 656 661 734 751 817"),
    "Truck": (("Vehicle",), "555 569 675 717 803 864 867"),
    "Bus": (("Vehicle",), "654 779 874"),
    "Train": (("Vehicle",), "466 547 565 705 820 829"),
    "Boat": (("Vehicle",), "403 472 484 510 554 576 625 628 780 814 833 871 914"),
    "Aircraft": (("Vehicle",), "404-405 812 895"),
    "Bicycle": (("Vehicle",), "444 671 870 880"),
    "Motorcycle": (("Vehicle",), "665 670"),
    "Building": (
        (),
        "410 415 424-425 437 442 449 454 467 483 497-498 500 509 580 582 624 660 663 668 698 727 743 762 788 832 853"
        " 858 860 865 900 915",
    ),
    "Shop": (("Building",), "415 424 454 467 509 582 788 860 865"),
    "Bridge": (("Structure",), "821 839 888"),
    "Structure": ((), "406 460 489 525 536 538 562 649 682 716 718 821 825 839 863 873 888 912"),
    "Fence": (("Structure",), "489 716 912"),
    "Outdoors": ((), "460 525 536 562 672 703 718 821 825 839 843 888 912 970-980 984-985 987"),
    "Nature": (("Outdoors",), "970-980"),
    "Mountain": (("Nature", "Outdoors"), "970 972 979-980"),
    "Beach": (("Nature", "Outdoors"), "976-978"),
    "Person": ((), "981-983"),
    "Clothing": (
        (),
        "399-400 411 433 439 443 445 451-452 457 459 465 474 501-502 514-515 518 529 560 568 578 601 608 610 614 617"
        " 630 638-639 643 652 655 658 667 689 697 735 770 774-775 793 796 806 808 824 834 836-837 841-842 869 887 903"
        " 906",
    ),
    "Footwear": (("Clothing",), "502 514 630 770 774"),
    "Hat": (("Clothing",), "439 452 515 518 560 667 808"),
    "Swimwear": (("Clothing",), "433 445 638-639 842"),
    "Furniture": ((), "423 431 453 493 495 516 520 526 532 559 564 703 736 765 831 846 857 894"),
    "Seat": (("Furniture",), "423 559 703 765 831 857"),
    "Electronics": (
        (),
        "481-482 485 487 508 527-528 590 592 598 605 620 632 662 664 673 681-682 707 713 732 742 745 754 759 761 782"
        " 848 851",
    ),
    "Musical Instrument": (
        (),
        "401-402 420 432 486 494 513 541 546 558 566 577 579 593-594 641-642 683-684 687 699 776 822 875 881 889",
    ),
    "Sports": ((), "416 422 429-430 522 543 574 602 671 701-702 722 746-747 752 768 795 805 842 852 890 981"),
    "Ball": (("Sports",), "429-430 522 574 722 768 805 852 890"),
    "Kitchenware": (
        (),
        "438 440-441 463 469 503-505 521 544 550 567 572 618 647 651 659 725 738 809 827 849 859 891 898-899 901 907"
        " 909-910 923 968",
    ),
    "Food": ((), "924-957 959-969 987"),
    "Fruit": (("Food",), "948-957"),
    "Vegetable": (("Food",), "936-947"),
    "Dessert": (("Food",), "927-929 960"),
    "Drink": (("Food",), "966-967 969"),
    "Plant": ((), "936-957 984-990 998"),
    "Flower": (("Plant",), "984-986"),
    "Mushroom Family": ((), "947 991-997"),
    "Sign": ((), "919-920 781"),
    "Toy": ((), "611 850 865"),
    "Weapon": ((), "413 471 657 744 763-764"),
    "Tool": ((), "473 477 499 512 587 596 621 740 784 792"),
}


def classes(group: str) -> Iterator[int]:
    """The numbers of the classes in a group."""
    for part in GROUPS[group][1].split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def parents(number: int) -> tuple[str, ...]:
    """The wider names of a class, nearest (smallest group) first."""
    sizes = {group: len(members) for group, members in _MEMBERS.items() if number in members}
    return tuple(sorted(sizes, key=lambda group: sizes[group]))


_MEMBERS = {group: frozenset(classes(group)) for group in GROUPS}
